"""Alert messages: what each channel gets (`bodies`), over the wire (`post`), as events (`deliver`).

`sql/functions/69_alerts.sql` decides what is wrong and who hears of it when. A channel is a name; its
address is in the settings or in a schedule's hooks, and goes into no event, row, log or error.
"""
