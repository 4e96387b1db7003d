"""What PostgreSQL itself refuses of an attempt, beyond the constraints: a step back, and a change after the verdict."""

from __future__ import annotations

from dialer.calls.attempt import State

ERASED = "erased"
"""The number of an attempt whose person was forgotten."""
_FUNCTION = """
create or replace function attempt_guard() returns trigger language plpgsql as $guard$
declare
  passed constant text[] := array[{states}];
  settled attempt;
begin
  if tg_op = 'DELETE' then
    raise exception 'attempt % is open: without its row nobody would know of the call', old.id
      using errcode = 'check_violation';
  end if;
  if old.state = 'ended' then
    settled := new;
    settled.slot_until := old.slot_until;
    -- The person asked to be forgotten: whom it was dialled to goes, what came of it stays.
    if new.number = '{ERASED}' then
      settled.number := old.number;
    end if;
    if settled is distinct from old then
      raise exception 'attempt % has its verdict: nothing of it changes any more', old.id
        using errcode = 'check_violation';
    end if;
  elsif array_position(passed, new.state) < array_position(passed, old.state) then
    raise exception 'attempt % is % and cannot become % again', old.id, old.state, new.state
      using errcode = 'check_violation';
  end if;
  return new;
end
$guard$
"""
_ON_UPDATE = """
create or replace trigger attempt_guard before update on attempt for each row
when (old.state = 'ended' or old.state is distinct from new.state) execute function attempt_guard()
"""
_ON_DELETE = """
create or replace trigger attempt_keep before delete on attempt for each row
when (old.state <> 'ended') execute function attempt_guard()
"""


def statements() -> list[str]:
    """The guards as SQL, to be run in this order by a migration; running them again changes nothing.

    An attempt's states stand in `State` in the order in which it may pass them, so forward in that order is allowed,
    over several at once too: the tracker gathers what happens within a moment into one update.
    """
    states = ", ".join(f"'{state.value}'" for state in State)
    return [_FUNCTION.format(states=states, ERASED=ERASED), _ON_UPDATE, _ON_DELETE]
