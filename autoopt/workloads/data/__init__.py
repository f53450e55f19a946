"""Readers of data: folders of pictures, volumes, tables, archives."""
