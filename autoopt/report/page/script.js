// What the report can do beyond showing.
