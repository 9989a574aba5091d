"""The market: calendars, the clock, tick and bar series, replayed or generated."""
