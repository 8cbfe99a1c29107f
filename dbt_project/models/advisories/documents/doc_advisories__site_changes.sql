-- One row per change of an advisory, of the newest ones.
with transitions as (

    select * from {{ ref('mart_advisory_transitions') }}

),

claim_sources as (

    select * from {{ ref('claim_sources') }}

),

newest_transitions as (

    select *
    from transitions
    order by changed_at desc, advisory_id
    limit {{ var('site_changes', 500) }}

),

changes as (

    select
        newest_transitions.package_name as page,
        newest_transitions.cve_id as entry,
        newest_transitions.changed_at,
        newest_transitions.kind,
        newest_transitions.old_state,
        newest_transitions.new_state,
        newest_transitions.old_fixed_version as old_answer,
        newest_transitions.new_fixed_version as new_answer,
        newest_transitions.is_regression,
        newest_transitions.cause,
        newest_transitions.cause_rule as rule,
        claim_sources.label as source,
        newest_transitions.cause_record as record,
    from newest_transitions
    left join claim_sources on newest_transitions.cause_source = claim_sources.source

)

select * from changes
