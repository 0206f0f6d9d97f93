"""What Reckoner is compared with, each set up as its own documentation recommends for throughput."""
