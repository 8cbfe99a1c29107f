-- One row per advisory and change: the state before and after, and the rule and the record that
-- caused it. The advisories of the first publication are no changes.
with periods as (

    select * from {{ ref('mart_advisory_state_history') }}

),

consecutive_periods as (

    select
        *,
        lag(state) over by_time as old_state,
        lag(state_type) over by_time as old_state_type,
        lag(fixed_version) over by_time as old_fixed_version,
        lag(confidence) over by_time as old_confidence,
        lag(reason_code) over by_time as old_reason_code,
        lag(effective_to) over by_time as old_effective_to,
        lead(effective_from) over by_time as next_from,
        min(effective_from) over () as baseline_at,
    from periods
    window by_time as (partition by advisory_id order by effective_from)

),

period_starts as (

    select
        advisory_id,
        cve_id,
        package_name,
        effective_from as changed_at,
        case
            when old_state is null then 'appeared'
            when old_effective_to < effective_from then 'returned'
            when old_state != state then 'state'
            else 'detail'
        end as kind,
        old_state,
        state as new_state,
        old_fixed_version,
        fixed_version as new_fixed_version,
        old_reason_code,
        reason_code as new_reason_code,
        old_confidence,
        confidence as new_confidence,
        cause,
        decision_rule as cause_rule,
        cause_source,
        cause_record,
        coalesce(old_state_type = 'final' and state_type = 'non_final', false) as is_regression,
    from consecutive_periods
    where old_state is not null or effective_from > baseline_at

),

disappearances as (

    select
        advisory_id,
        cve_id,
        package_name,
        effective_to as changed_at,
        'vanished' as kind,
        state as old_state,
        fixed_version as old_fixed_version,
        reason_code as old_reason_code,
        confidence as old_confidence,
        'vanished' as cause,
        opened_by_source as cause_source,
        opened_by_record as cause_record,
        false as is_regression,
    from consecutive_periods
    -- A period that ends without a next one at the same moment: the advisory was gone.
    where not is_current and next_from is distinct from effective_to

),

transitions as (

    select * from period_starts
    union all by name
    select * from disappearances

)

select * from transitions
