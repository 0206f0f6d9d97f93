"""Jobs: ticks of schedules, and the runs of tasks that they and people start.

`sql/functions/66_runs.sql` and `67_schedules.sql` decide what is due and what a run is. Here is what
SQL cannot do: look in time (`ticks`), and run a task's code (`runs`, `tasks`).
"""
