-- One row per package, vulnerability id and release in the distribution's tracker.
with source as (

    select * from {{ source('advisories', 'debian') }}

),

renamed as (

    select
        cve_id,
        package_name,
        {{ fold_case('package_name') }} as package_key,
        release,
        status,
        nullif(fixed_version, '') as fixed_version,
        coalesce(urgency = 'end-of-life', false) as is_end_of_life,
        coalesce(nodsa_reason = 'ignored', false) as is_ignored,
        {{ source_record('debian', ['package_key', 'cve_id']) }} as source_record,
        source_sha256,
        source_row,
    from source

)

select * from renamed
