"""What systemd and a service say to each other: sockets, credentials, notifications, the watchdog."""
