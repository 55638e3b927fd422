"""What a scenario starts from: cars, places, demand, prices, weather."""
