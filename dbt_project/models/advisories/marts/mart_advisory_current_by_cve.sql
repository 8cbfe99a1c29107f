-- One row per vulnerability id: its packages and the worst of their states.
with current_states as (

    select * from {{ ref('mart_advisory_current') }}

),

states as (

    select * from {{ ref('advisory_states') }}

),

by_cve as (

    select
        current_states.cve_id,
        arg_min(current_states.state, states.badness) as state,
        arg_min(current_states.state_type, states.badness) as state_type,
        count(*) as packages_count,
        count(*) filter (where current_states.state = 'fixed') as packages_fixed_count,
        array_agg(
            struct_pack(
                package_name := current_states.package_name,
                state := current_states.state,
                fixed_version := current_states.fixed_version
            )
            order by current_states.package_name
        ) as packages,
        max(current_states.cvss_score) as cvss_score,
        arg_min(current_states.severity, current_states.package_name) as severity,
        bool_or(current_states.is_known_exploited) as is_known_exploited,
        max(current_states.epss) as epss,
        min(current_states.first_seen) as first_seen,
    from current_states
    inner join states on current_states.state = states.state
    group by current_states.cve_id

)

select * from by_cve
