"""From what a person has (a file, a frame, a folder) to a task, labels and splits; knows no model."""
