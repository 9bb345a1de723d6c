"""The paper's table 9: its trainings, their forecast, and the table."""
