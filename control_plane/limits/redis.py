"""Budgets that all control planes share, in Redis. A wipe gives everybody a whole budget again."""

from __future__ import annotations

from collections.abc import Sequence

from redis import Redis, RedisError
from redis.backoff import NoBackoff
from redis.retry import Retry

from control_plane.limits.port import BudgetsUnreachableError
from control_plane.limits.rate import Bucket, Standing, nearest_to_its_end, standing

_PREFIX = "mt5farm.limit."
_PATIENCE_SECONDS = 0.25
"""Longer than this, and asking would itself be what slows the farm down."""

# The rule of rate.after_one, for all buckets or none. Numbers are passed on as text: Lua would round them.
_TAKE = """
local now, found, allowed = tonumber(ARGV[1]), {}, 1
for i, key in ipairs(KEYS) do
  local interval, window = tonumber(ARGV[2 * i]), tonumber(ARGV[2 * i + 1])
  local full_at = tonumber(redis.call('GET', key) or '0')
  local later = math.min(math.max(full_at, now), now + window) + interval
  if later > now + window then allowed = 0 end
  found[i] = {full_at, later}
end
local answer = {allowed}
for i, key in ipairs(KEYS) do
  local moment = found[i][1 + allowed]
  if allowed == 1 then
    redis.call('SET', key, string.format('%.0f', moment), 'PX', string.format('%.0f', (moment - now) / 1000 + 60000))
  end
  answer[i + 1] = string.format('%.0f', moment)
end
return answer
"""


class RedisBudgets:
    def __init__(self, url: str) -> None:
        self._redis = Redis.from_url(
            url,
            socket_timeout=_PATIENCE_SECONDS,
            socket_connect_timeout=_PATIENCE_SECONDS,
            retry=Retry(NoBackoff(), 0),
        )
        self._take = self._redis.register_script(_TAKE)

    @property
    def problem(self) -> str:
        return ""

    def take(self, buckets: Sequence[Bucket], now: int) -> Standing:
        arguments = [now]
        for each in buckets:
            arguments += [each.rate.interval, each.rate.window]
        try:
            answer = self._take([_PREFIX + each.key for each in buckets], arguments)
        except RedisError as error:
            raise BudgetsUnreachableError(type(error).__name__) from error
        allowed, *moments = (int(each) for each in answer)
        return nearest_to_its_end(
            [standing(each, moment, now, allowed=bool(allowed)) for each, moment in zip(buckets, moments, strict=True)]
        )

    def close(self) -> None:
        self._redis.close()
