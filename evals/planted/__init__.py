"""The planted-feature benchmark: features whose truth is known exactly, to score scorers and explainers with.

`concepts` (from `families`) say where a claim about text holds; `corpus` plants sentences in real text; `shapes` make
activations of them; `table` writes an activation table, which the ordinary pipeline samples like any other. `population`
knows every window's truth; `oracle` what each label is really worth; `judges` answer the real prompts as models of
known faults would; `protocols` choose and score windows as other systems do.
"""
