"""``report.html``: one file that opens offline, with the numbers of an evaluation and a viewer of its motions."""

from hmu.motion.stick import Stick
from hmu.report.page.evaluation import page
from hmu.report.page.motions import Clip, Take

__all__ = ["Clip", "Stick", "Take", "page"]
