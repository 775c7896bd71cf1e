"""Ways in and out besides HTTP. One line a channel; what follows from it is derived.

That is: its command, its process under ``assistant up``, its role in figures and traces, what
``assistant doctor`` says of it, and the service that compose.yaml must have, which a test compares.
"""

from channels.base import Channel

CHANNELS: tuple[Channel, ...] = ()
