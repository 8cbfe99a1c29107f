-- One row per advisory: a vulnerability in the CSAF document of its package, with the dates of that
-- document. The first row of a package lists the document's releases.
with statements as (

    select * from {{ ref('int_advisories__statements') }}

),

products as (

    select * from {{ ref('int_advisories__products') }}

),

releases as (

    select * from {{ ref('int_advisories__releases') }}

),

nvd as (

    select * from {{ ref('int_advisories__nvd_merged') }}

),

csaf as (

    select
        statements.package_name,
        statements.cve_id as vulnerability_id,
        case when not statements.cve_id like 'CVE-%' then statements.id_system end as id_system,
        statements.page_url,
        statements.record_url,
        statements.fixed_version as version,
        products.products,
        statements.csaf_status as product_status,
        statements.justification as flag,
        statements.explanation as note,
        case
            when statements.csaf_status = 'known_not_affected' then statements.explanation
        end as impact,
        statements.csaf_remediation as remediation_category,
        case when statements.csaf_remediation is not null then statements.action end as remediation,
        -- A score of a fixed or unaffected version would have to be 0 (optional test 6.2.19).
        case
            when statements.csaf_status in ('known_affected', 'under_investigation')
                then nvd.cvss_vector
        end as cvss_vector,
        statements.stated_at,
        releases.first_released_at,
        releases.last_released_at,
        -- Once per document, as a package may have many advisories and many releases.
        case
            when
                row_number() over (
                    partition by statements.package_name order by statements.cve_id
                ) = 1
                then releases.revisions
        end as revisions,
    from statements
    inner join products on statements.advisory_id = products.advisory_id
    inner join releases on statements.package_key = releases.package_key
    left join nvd on statements.advisory_id = nvd.advisory_id

)

select * from csaf
