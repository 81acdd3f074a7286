"""Tables, pictures and the HTML page of a result. Knows nobody above it; no torch, no Caffe."""
