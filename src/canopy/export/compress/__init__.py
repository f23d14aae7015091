"""Make a frozen model smaller and faster, and measure what that costs."""
