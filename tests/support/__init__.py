"""What the tests share, a module for each thing: the database, the clock, the queue, processes …"""
