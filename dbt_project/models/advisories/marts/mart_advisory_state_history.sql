-- One row per advisory and period in which state, version, confidence and reason stayed the same.
-- The rows follow from the last published history, the decisions and the run's logical time alone.
with run as (

    select * from {{ ref('stg_advisories__run') }}

),

published_periods as (

    select
        published.* replace (
            if(
                published.published_spelling != published.package_name,
                run.as_of,
                published.spelled_at
            ) as spelled_at
        ),
    from {{ ref('int_advisories__published_periods') }} as published
    cross join run

),

decisions as (

    select * from {{ ref('int_advisories__decided') }}

),

rules as (

    select * from {{ ref('decision_rules') }}

),

locations as (

    select * from {{ ref('int_advisories__record_locations') }}

),

ended_records as (

    select * from {{ ref('int_advisories__ended_records') }}

),

last_periods as (

    select
        published_periods.*,
        rules.priority,
        ended_records.cause as end_cause,
    from published_periods
    left join rules on published_periods.opened_by_claim = rules.claim
    left join ended_records
        on
            published_periods.opened_by_source = ended_records.source
            and published_periods.opened_by_record = ended_records.record_id
    qualify row_number() over (
        partition by published_periods.advisory_id
        order by published_periods.effective_from desc
    ) = 1

),

decisions_with_cause as (

    select
        decisions.*,
        locations.source_sha256,
        case
            when run.is_evidence_unchanged
                then if(run.is_code_changed, 'rules_changed', 'time_passed')
        end as cause_beside_sources,
        -- The record still says the same, yet it makes another claim: the record of a second source
        -- tipped the decision.
        coalesce(
            decisions.claim != last_periods.opened_by_claim
            and decisions.source = last_periods.opened_by_source
            and decisions.record_id = last_periods.opened_by_record
            and decisions.claimed_version is not distinct from last_periods.opened_by_version,
            false
        ) as is_tipped,
        case
            when last_periods.advisory_id is null then 'first_seen'
            when not last_periods.is_current then 'returned'
            when cause_beside_sources = 'rules_changed' then 'rules_changed'
            when last_periods.end_cause is not null then last_periods.end_cause
            when cause_beside_sources = 'time_passed' then 'time_passed'
            when is_tipped and decisions.tipped_by_record is not null then 'new_evidence'
            when is_tipped and last_periods.tipped_by_record is not null then 'evidence_gone'
            when decisions.priority > coalesce(last_periods.priority, 0) then 'evidence_gone'
            else 'new_evidence'
        end as cause,
        case when is_tipped then last_periods.tipped_by_source end as untipped_source,
        case when is_tipped then last_periods.tipped_by_record end as untipped_record,
        last_periods.opened_by_source as lost_source,
        last_periods.opened_by_record as lost_record,
    from decisions
    cross join run
    left join locations on decisions.source_record = locations.source_record
    left join last_periods on decisions.advisory_id = last_periods.advisory_id

),

states as (

    select
        advisory_id,
        cve_id,
        package_name,
        state,
        state_type,
        fixed_version,
        confidence,
        reason_code,
        decision_rule,
        claim as opened_by_claim,
        source as opened_by_source,
        record_id as opened_by_record,
        source_sha256 as opened_by_sha256,
        claimed_version as opened_by_version,
        tipped_by_source,
        tipped_by_record,
        cause,
        case
            when cause = 'evidence_gone' then coalesce(untipped_source, lost_source)
            when cause in ('record_withdrawn', 'ruling_expired') then lost_source
            when cause = 'new_evidence' and is_tipped
                then coalesce(tipped_by_source, source)
            else source
        end as cause_source,
        case
            when cause = 'evidence_gone' then coalesce(untipped_record, lost_record)
            when cause in ('record_withdrawn', 'ruling_expired') then lost_record
            when cause = 'new_evidence' and is_tipped
                then coalesce(tipped_by_record, record_id)
            else record_id
        end as cause_record,
        cast(null as timestamp with time zone) as spelled_at,
    from decisions_with_cause

),

periods as (

    {{ history(
        published_periods='published_periods',
        states='states',
        run='run',
        key='advisory_id',
        watched=['state', 'fixed_version', 'confidence', 'reason_code'],
        columns=[
            'advisory_id',
            'cve_id',
            'package_name',
            'state',
            'state_type',
            'fixed_version',
            'confidence',
            'reason_code',
            'decision_rule',
            'opened_by_claim',
            'opened_by_source',
            'opened_by_record',
            'opened_by_sha256',
            'opened_by_version',
            'tipped_by_source',
            'tipped_by_record',
            'cause',
            'cause_source',
            'cause_record',
            'spelled_at',
        ],
    ) }}

)

select * from periods
