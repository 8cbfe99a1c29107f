-- One row per CVE record in the yearly files of the NVD.
with source as (

    select * from {{ source('advisories', 'nvd') }}

),

renamed as (

    {{ nvd_records('source', 'nvd') }}

)

select * from renamed
