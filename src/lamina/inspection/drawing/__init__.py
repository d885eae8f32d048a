"""Models as pictures: report, diagram, scene, file."""

from lamina.inspection.drawing.plotting import notebook_html as notebook_html
from lamina.inspection.drawing.plotting import plot_model as plot_model
