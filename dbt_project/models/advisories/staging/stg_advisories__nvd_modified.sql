-- One row per CVE record that changed lately.
with source as (

    select * from {{ source('advisories', 'nvd_modified') }}

),

renamed as (

    {{ nvd_records('source') }}

)

select * from renamed
