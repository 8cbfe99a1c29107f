-- One row per advisory: a vulnerability in the CSAF document of its package, with the dates of that
-- document.
with statements as (

    select * from {{ ref('int_advisories__statements') }}

),

releases as (

    select * from {{ ref('int_advisories__releases') }}

),

csaf as (

    select
        statements.package_name,
        statements.cve_id as vulnerability_id,
        case when not statements.cve_id like 'CVE-%' then statements.id_system end as id_system,
        statements.page_url,
        statements.record_url,
        statements.fixed_version as version,
        statements.products,
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
