"""From a plan to a judged run directory: settings, plan, batch arithmetic, flow, trainers."""
