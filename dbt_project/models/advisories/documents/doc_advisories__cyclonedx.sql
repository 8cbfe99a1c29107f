-- One row per advisory: a vulnerability with its analysis in CycloneDX.
with statements as (

    select * from {{ ref('int_advisories__statements') }}

),

products as (

    select * from {{ ref('int_advisories__products') }}

),

nvd as (

    select * from {{ ref('int_advisories__nvd_merged') }}

),

cyclonedx as (

    select
        statements.package_name,
        statements.cve_id as vulnerability_id,
        statements.id_system as source_name,
        statements.page_url as source_url,
        products.products,
        statements.cyclonedx_state as state,
        statements.cyclonedx_justification as justification,
        statements.cyclonedx_response as response,
        nvd.cvss_vector,
        concat_ws(' ', statements.explanation, statements.action) as detail,
        statements.first_stated_at as first_issued_at,
        statements.stated_at as last_updated_at,
    from statements
    inner join products on statements.advisory_id = products.advisory_id
    left join nvd on statements.advisory_id = nvd.advisory_id

)

select * from cyclonedx
