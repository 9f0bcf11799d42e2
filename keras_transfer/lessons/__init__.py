"""Run the lessons headless, hold them to what they claim, and check exercises."""
