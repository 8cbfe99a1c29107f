-- One row per advisory and period. A pure function of the last published history, the decisions and
-- the logical time; a new period opens only when state, version, confidence or reason changes.
with run as (

    select * from {{ ref('stg_advisories__run') }}

),

published as (

    select * from {{ ref('stg_advisories__history') }}

),

decided as (

    select * from {{ ref('int_advisories__decided') }}

),

rules as (

    select * from {{ ref('decision_rules') }}

),

withdrawn as (

    select distinct osv_id as record_id
    from {{ ref('stg_advisories__osv') }}
    where is_withdrawn

),

last_period as (

    select
        published.*,
        rules.priority,
        withdrawn.record_id is not null as is_withdrawn,
    from published
    left join rules on published.opened_by_claim = rules.claim
    left join withdrawn
        on
            published.opened_by_source = 'osv'
            and published.opened_by_record = withdrawn.record_id
    qualify row_number() over (
        partition by published.advisory_id
        order by published.effective_from desc
    ) = 1

),

caused as (

    select
        decided.*,
        -- The record says what it said and counts for something else: another record did it.
        coalesce(
            decided.evidence.claim != last_period.opened_by_claim
            and decided.evidence.source = last_period.opened_by_source
            and decided.evidence.record_id = last_period.opened_by_record
            and decided.claimed_version is not distinct from last_period.opened_by_version,
            false
        ) as is_tipped,
        case
            when last_period.advisory_id is null then 'first_seen'
            when not last_period.is_current then 'returned'
            when last_period.is_withdrawn then 'record_withdrawn'
            when is_tipped and decided.tipped_by_record is not null then 'new_evidence'
            when is_tipped and last_period.tipped_by_record is not null then 'evidence_gone'
            when decided.priority > coalesce(last_period.priority, 0) then 'evidence_gone'
            else 'new_evidence'
        end as cause,
        case when is_tipped then last_period.tipped_by_source end as untipped_source,
        case when is_tipped then last_period.tipped_by_record end as untipped_record,
        last_period.opened_by_source as lost_source,
        last_period.opened_by_record as lost_record,
    from decided
    left join last_period on decided.advisory_id = last_period.advisory_id

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
        evidence.claim as opened_by_claim,
        evidence.source as opened_by_source,
        evidence.record_id as opened_by_record,
        evidence.source_sha256 as opened_by_sha256,
        claimed_version as opened_by_version,
        tipped_by_source,
        tipped_by_record,
        cause,
        case
            when cause = 'evidence_gone' then coalesce(untipped_source, lost_source)
            when cause = 'record_withdrawn' then lost_source
            when cause = 'new_evidence' and is_tipped
                then coalesce(tipped_by_source, evidence.source)
            else evidence.source
        end as cause_source,
        case
            when cause = 'evidence_gone' then coalesce(untipped_record, lost_record)
            when cause = 'record_withdrawn' then lost_record
            when cause = 'new_evidence' and is_tipped
                then coalesce(tipped_by_record, evidence.record_id)
            else evidence.record_id
        end as cause_record,
    from caused

),

periods as (

    {{ history(
        published='published',
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
        ],
    ) }}

)

select * from periods
