"""The topic registry: which kinds of events this worker processes, and how.

A new kind of work is one entry here. The outbox accepts any plain word as a topic; the claim, the
metrics and the views take topics from the events and from the workers' heartbeats.
"""

from worker.alerts import deliver, subscriptions
from worker.handlers import predictions, tickers
from worker.jobs import runs
from worker.queue.lanes import Lane
from worker.settings import WorkerSettings


def lanes(settings: WorkerSettings) -> tuple[Lane, ...]:
    """Return the lanes of a worker, in the order in which they claim."""
    return (
        # Never touches the network. A full batch goes to a thread, and the main thread claims on.
        Lane(
            topic="prediction",
            handler=predictions.handle,
            concurrency=settings.worker_prediction_concurrency,
            batch_size=settings.worker_batch_size,
            inline=True,
        ),
        # Waits for providers.
        Lane(
            topic="ticker",
            handler=tickers.handle,
            concurrency=settings.worker_ticker_concurrency,
            batch_size=1,
        ),
        # Runs tasks, for minutes or an hour.
        Lane(
            topic="job",
            handler=runs.handle,
            concurrency=settings.worker_job_concurrency,
            batch_size=1,
            is_long=True,
        ),
        # Waits for those who receive messages.
        Lane(
            topic="alert",
            handler=deliver.handle,
            concurrency=2,
            batch_size=1,
        ),
        # One event for each subscription: a slow receiver holds one thread for a turn.
        Lane(
            topic="webhook",
            handler=subscriptions.handle,
            concurrency=4,
            batch_size=1,
        ),
    )
