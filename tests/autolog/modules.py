"""A module whose work depends on its data: there is no graph of it. Tests run this as a notebook's own code."""

import torch


class Jumpy(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(6, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.layer(x)
        return y if float(y.sum()) > 0 else -y
