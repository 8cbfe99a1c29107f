-- One row per advisory, as it is published. What decides nothing is joined here: scores, and where
-- the deciding record is now.
with decisions as (

    select * from {{ ref('int_advisories__decided') }}

),

universe as (

    select * from {{ ref('int_advisories__universe') }}

),

nvd as (

    select * from {{ ref('int_advisories__nvd_merged') }}

),

kev as (

    select * from {{ ref('stg_advisories__kev') }}

),

epss as (

    select * from {{ ref('stg_advisories__epss') }}

),

locations as (

    select * from {{ ref('int_advisories__record_locations') }}

),

periods as (

    select
        *,
        max(case when state_type = 'final' then effective_to end)
            over (partition by advisory_id) as last_final_to,
    from {{ ref('mart_advisory_state_history') }}

),

first_dates as (

    select
        advisory_id,
        min(effective_from)::date as first_seen,
        -- The start of the current run of non-final states: the first one after the last final one.
        min(
            case
                when
                    state_type = 'non_final'
                    and effective_from >= coalesce(last_final_to, effective_from)
                    then effective_from
            end
        )::date as non_final_since,
    from periods
    group by advisory_id

),

current_states as (

    select
        decisions.advisory_id,
        decisions.cve_id,
        decisions.package_name,
        decisions.state,
        decisions.state_type,
        decisions.fixed_version,
        decisions.confidence,
        decisions.explanation,
        decisions.would_flip,
        decisions.reason_code,
        decisions.decision_rule,
        struct_pack(
            source := decisions.source,
            claim := decisions.claim,
            record_id := decisions.record_id,
            record_url := decisions.record_url,
            record_modified_at := decisions.record_modified_at,
            source_sha256 := locations.source_sha256,
            source_row := locations.source_row
        ) as evidence,
        decisions.contributing_sources,
        decisions.dissenting_sources,
        nvd.cvss_score,
        coalesce(universe.vendor_severity, nvd.cvss_severity) as severity,
        kev.cve_id is not null as is_known_exploited,
        epss.epss,
        first_dates.first_seen,
        case when decisions.state_type = 'non_final' then first_dates.non_final_since end
            as non_final_since,
    from decisions
    inner join universe on decisions.advisory_id = universe.advisory_id
    inner join first_dates on decisions.advisory_id = first_dates.advisory_id
    left join locations on decisions.source_record = locations.source_record
    left join nvd on decisions.advisory_id = nvd.advisory_id
    left join kev on decisions.cve_id = kev.cve_id
    left join epss on decisions.cve_id = epss.cve_id

)

select * from current_states
