-- One row per ruling of the analysts. One without a package applies to all packages with the id.
with source as (

    select * from {{ source('advisories', 'overrides') }}

),

renamed as (

    select
        cve_id,
        nullif(package_name, '') as package_name,
        {{ fold_case("nullif(package_name, '')") }} as package_key,
        status,
        nullif(fixed_version, '') as fixed_version,
        replace(nullif(internal_status, ''), '_', ' ') as reason,
        expires_at,
        nullif(ruled_by, '') as ruled_by,
        {{ source_record('overrides', ['package_key', 'cve_id']) }} as source_record,
        source_sha256,
        source_row,
    from source

)

select * from renamed
