-- One row per advisory: what is published of it.
with decided as (

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

periods as (

    select
        *,
        max(case when state_type = 'final' then effective_to end)
            over (partition by advisory_id) as last_final_to,
    from {{ ref('mart_advisory_state_history') }}

),

seen as (

    select
        advisory_id,
        min(effective_from)::date as first_seen,
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
        decided.advisory_id,
        decided.cve_id,
        decided.package_name,
        decided.state,
        decided.state_type,
        decided.fixed_version,
        decided.confidence,
        decided.explanation,
        decided.would_flip,
        decided.reason_code,
        decided.decision_rule,
        decided.evidence,
        decided.contributing_sources,
        decided.dissenting_sources,
        nvd.cvss_score,
        coalesce(universe.vendor_severity, nvd.cvss_severity) as severity,
        kev.cve_id is not null as is_known_exploited,
        epss.epss,
        seen.first_seen,
        case when decided.state_type = 'non_final' then seen.non_final_since end as non_final_since,
    from decided
    inner join universe on decided.advisory_id = universe.advisory_id
    inner join seen on decided.advisory_id = seen.advisory_id
    left join nvd on decided.cve_id = nvd.cve_id
    left join kev on decided.cve_id = kev.cve_id
    left join epss on decided.cve_id = epss.cve_id

)

select * from current_states
