"""Function calling for apps that know nothing of it: how calls are asked for, written, found and checked."""
