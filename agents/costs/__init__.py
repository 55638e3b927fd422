"""What rules and planners alike know of costs: cars priced in full, what is usual of demand."""
