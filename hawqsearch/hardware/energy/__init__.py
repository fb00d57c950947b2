"""Energy from counters that the hardware keeps; where there is none, it is absent and the reason is told.

The readers are our own. Of the libraries looked at, zeus 0.16 needs pandas, scikit-learn, amdsmi and an HTTP
client, and starts a process per RAPL counter to watch it wrap; codecarbon estimates where it cannot measure and
writes files; pyRAPL and pyJoules have had no release since 2020. A RAPL file is one integer. NVML is read through
NVIDIA's own binding (nvidia-ml-py).
"""
