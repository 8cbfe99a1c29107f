-- One row per CVE record in the NVD's file of recent changes.
with source as (

    select * from {{ source('advisories', 'nvd_modified') }}

),

renamed as (

    {{ nvd_records('source', 'nvd_modified') }}

)

select * from renamed
