-- One row: what this run changes in the published states.
with run as (

    select * from {{ ref('stg_advisories__run') }}

),

published_periods as (

    select * from {{ ref('stg_advisories__history') }}

),

transitions as (

    select * from {{ ref('mart_advisory_transitions') }}

),

current_states as (

    select * from {{ ref('int_advisories__decided') }}

),

change_records as (

    select
        transitions.advisory_id,
        struct_pack(
            advisory_id := transitions.advisory_id,
            cve_id := transitions.cve_id,
            package_name := transitions.package_name,
            changed_at := transitions.changed_at,
            kind := transitions.kind,
            old_state := transitions.old_state,
            new_state := transitions.new_state,
            old_fixed_version := transitions.old_fixed_version,
            new_fixed_version := transitions.new_fixed_version,
            old_reason_code := transitions.old_reason_code,
            new_reason_code := transitions.new_reason_code,
            old_confidence := transitions.old_confidence,
            new_confidence := transitions.new_confidence,
            is_regression := transitions.is_regression,
            cause := transitions.cause,
            cause_rule := transitions.cause_rule,
            cause_source := transitions.cause_source,
            cause_record := transitions.cause_record,
            explanation := current_states.explanation
        ) as change,
    from transitions
    -- Changes of an earlier run are none of this one. The model also reads the current states, so
    -- it is rebuilt in every run that rebuilds them.
    inner join run on transitions.changed_at = run.as_of
    left join current_states on transitions.advisory_id = current_states.advisory_id

),

changes as (

    select
        not exists (select 1 from published_periods) as baseline,
        (
            select coalesce(array_agg(change order by advisory_id), [])
            from change_records
        ) as changes,

)

select * from changes
