"""Whose answer it is: the gateway's that claims it first."""

from __future__ import annotations

from gateway.peers.follower import Follower
from gateway.peers.publication import Publication
from gateway.peers.redis_link import Claim, Peers, Silence


async def claim_answer(peers: Peers, claim: Claim, seconds: float) -> Publication | Follower:
    """Claim an answer until so many seconds after its end: to publish it, or to follow whoever was first.

    If Redis does not answer, there is a publication that tries on behind the answer; it is not `claimed`.
    """
    try:
        holder = await peers.holder(claim, seconds)
    except Silence:
        return Publication(peers, claim, seconds, claimed=False)
    return Publication(peers, claim, seconds, claimed=True) if holder == claim else Follower(peers, holder)
