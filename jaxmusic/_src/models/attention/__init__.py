"""Attention kernels and their choice by platform."""
