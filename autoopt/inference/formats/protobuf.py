"""Protobuf messages, read as what they are: numbered fields, each a number, bytes, or a message within.

A bundle needs neither the package onnx nor a search to be used, and what it comes with is looked at before any library
opens it. Only the fields that are asked for are looked into; nothing is copied.
"""

from __future__ import annotations

from collections.abc import Iterator


def text(message: memoryview, field: int) -> str:
    """The first text of that number; empty where there is none."""
    found = next(messages(message, field), None)
    return "" if found is None else bytes(found).decode()


def messages(message: memoryview, field: int) -> Iterator[memoryview]:
    """All messages, texts and bytes of that number."""
    for number, value in fields(message):
        if number == field and not isinstance(value, int):
            yield value


def fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The fields of a message: number, and a whole number or bytes. Raises IndexError for one that is cut short."""
    place = 0
    while place < len(message):
        key, place = varint(message, place)
        kind = key & 7
        if kind == 0:
            value, place = varint(message, place)
            yield key >> 3, value
            continue
        length, place = varint(message, place) if kind == 2 else ({1: 8, 5: 4}.get(kind, -1), place)
        if length < 0 or place + length > len(message):
            raise IndexError("a field is cut short")
        if kind == 2:
            yield key >> 3, message[place : place + length]
        place += length


def varint(message: memoryview, place: int) -> tuple[int, int]:
    """The whole number that begins at `place`, and the place behind it."""
    value = shift = 0
    while True:
        byte = message[place]
        place += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128 or shift > 63:
            return value, place
