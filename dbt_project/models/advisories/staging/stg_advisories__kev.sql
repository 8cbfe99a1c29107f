-- One row per CVE in the catalogue of known exploited vulnerabilities.
with source as (

    select * from {{ source('advisories', 'kev') }}

),

renamed as (

    select
        cve_id,
        vulnerability_name,
        date_added as added_date,
        {{ source_record('kev', ['cve_id']) }} as source_record,
        source_sha256,
        source_row,
    from source

)

select * from renamed
