-- One row per CVE record of the yearly files.
with source as (

    select * from {{ source('advisories', 'nvd') }}

),

renamed as (

    {{ nvd_records('source') }}

)

select * from renamed
