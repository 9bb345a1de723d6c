"""Evaluates detections with COCO's metrics, checks the expected AP, and draws curves and figures."""
