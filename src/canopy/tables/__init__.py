"""Reading, checking and writing tables, batch by batch."""
