-- One row per advisory: a vulnerability with its analysis in CycloneDX.
with statements as (

    select * from {{ ref('int_advisories__statements') }}

),

cyclonedx as (

    select
        package_name,
        cve_id as vulnerability_id,
        id_system as source_name,
        page_url as source_url,
        products,
        cyclonedx_state as state,
        cyclonedx_justification as justification,
        cyclonedx_response as response,
        concat_ws(' ', explanation, action) as detail,
        first_stated_at as first_issued_at,
        stated_at as last_updated_at,
    from statements

)

select * from cyclonedx
