-- One row per advisory: a vulnerability in the CSAF document of its package, with the dates of that
-- document. Each time at which a state of the package began or ended is a release of the document.
with statements as (

    select * from {{ ref('int_advisories__statements') }}

),

periods as (

    select * from {{ ref('mart_advisory_state_history') }}

),

release_times as (

    select
        {{ fold_case('package_name') }} as package_key,
        effective_from as released_at,
    from periods
    union
    select
        {{ fold_case('package_name') }} as package_key,
        effective_to as released_at,
    from periods
    where effective_to is not null

),

releases as (

    select
        package_key,
        min(released_at) as first_released_at,
        max(released_at) as last_released_at,
        count(*) - 1 as updates_count,
    from release_times
    group by package_key

),

csaf as (

    select
        statements.package_name,
        statements.cve_id as vulnerability_id,
        case when not statements.cve_id like 'CVE-%' then statements.id_system end as id_system,
        statements.page_url,
        statements.record_url,
        statements.fixed_version as version,
        statements.csaf_status as product_status,
        statements.justification as flag,
        statements.explanation as note,
        case
            when statements.csaf_status = 'known_not_affected' then statements.explanation
        end as impact,
        statements.csaf_remediation as remediation_category,
        case when statements.csaf_remediation is not null then statements.action end as remediation,
        statements.stated_at,
        releases.first_released_at,
        releases.last_released_at,
        releases.updates_count,
    from statements
    inner join releases on statements.package_key = releases.package_key

)

select * from csaf
