"""What perfect foresight could earn, and planners that make do with forecasts."""
