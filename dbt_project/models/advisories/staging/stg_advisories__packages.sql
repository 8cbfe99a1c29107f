-- One row per binary package, version and architecture in the vendor's package index; no rows while
-- the source is disabled.
with source as (

    select * from {{ source('advisories', 'packages') }}

),

renamed as (

    select
        package_name as binary_name,
        {{ fold_case('package_name') }} as binary_key,
        version as binary_version,
        {{ fold_case('source_name') }} as package_key,
        source_version,
        {{ deb_key('source_version') }} as source_version_key,
        architecture,
        source_sha256,
        source_row,
    from source

)

select * from renamed
