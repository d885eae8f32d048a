"""Whether any layer adds losses, and whether a call is under way that they belong to."""


class AddedLosses:
    """Whether any layer of this process adds losses; until then nothing needs forgetting."""

    in_use = False
    idle = False  # in use, and no layer is being called at the moment

    def begin(self) -> None:
        """A layer adds losses."""
        if not self.in_use:
            self.in_use = self.idle = True


added_losses = AddedLosses()
