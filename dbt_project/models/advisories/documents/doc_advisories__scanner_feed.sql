-- One row per advisory, in the form of the vendor's feed that scanners read. Version "0" suppresses
-- a match; no version means that there is no fix. The severity is the vendor's own, or empty.
with current_states as (

    select * from {{ ref('int_advisories__decided') }}

),

universe as (

    select * from {{ ref('int_advisories__universe') }}

),

feed as (

    select
        current_states.package_name,
        current_states.cve_id,
        case
            when current_states.state = 'fixed' then current_states.fixed_version
            when current_states.state = 'not_applicable' then '0'
        end as fixed_version,
        upper(universe.vendor_severity[1]) || universe.vendor_severity[2:] as severity,
    from current_states
    inner join universe on current_states.advisory_id = universe.advisory_id

)

select * from feed
